"""The viewer's side: widgets that read a form, call `core` through a worker and show what comes back."""
