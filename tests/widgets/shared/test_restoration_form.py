"""The form of a restoration: 8 bits can be chosen only where the processor gains from them."""

import pytest

from napari_care_losses.restoration.engines import choose
from napari_care_losses.restoration.parameters import ENGINES, RestorationParameters
from napari_care_losses.widgets.shared.restoration_form import EIGHT_BITS, NOT_OFFERED, RestorationForm


@pytest.fixture
def shown(qtbot, monkeypatch):
    """Return a function that shows a form on a processor, and waits until it has been looked at."""

    def show(*, gains):
        looked = []
        monkeypatch.setattr(choose, "gains_from_8_bits", lambda: looked.append(1) or gains)
        form = RestorationForm()
        qtbot.addWidget(form.native)
        assert not looked
        combo = form.editors["engine"].native
        combo.setParent(None)
        qtbot.addWidget(combo)
        combo.show()
        with qtbot.waitSignal(form._eight_bits._job.finished, timeout=20_000):
            pass
        combo.hide()
        combo.show()
        assert len(looked) == 1
        return form, combo

    return show


def test_8_bits_are_offered_where_they_gain(shown):
    form, combo = shown(gains=True)
    assert all(combo.model().item(index).isEnabled() for index in range(combo.count()))
    form.editors["engine"].value = EIGHT_BITS
    assert form.value().engine == EIGHT_BITS


def test_where_they_do_not_they_cannot_be_chosen_and_it_is_said_why(shown):
    _, combo = shown(gains=False)
    index = ENGINES.index(EIGHT_BITS)
    assert combo.itemText(index) == NOT_OFFERED
    assert [combo.model().item(each).isEnabled() for each in range(combo.count())] == [
        each != index for each in range(combo.count())
    ]


def test_settings_that_name_them_stay(shown):
    form, combo = shown(gains=False)
    form.set_value(RestorationParameters(engine=EIGHT_BITS))
    assert form.value().engine == EIGHT_BITS
    assert combo.currentText() == NOT_OFFERED
