"""The CARE U-Net, model files, and the library of models."""
