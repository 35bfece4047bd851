"""What forms show in place of the choices of the restoration parameters."""

WORDS = {
    "normalization": {"frame": "of each frame", "stack": "of the whole stack", "bleaching": "following bleaching"},
    "low_band": {"auto": "as the model needs", "tied": "from the input", "plain": "from the model"},
    "engine": {"auto": "automatic", "torch": "torch", "openvino": "OpenVINO", "openvino-int8": "OpenVINO, 8 bits"},
}
