"""Model packages in the format of bioimage.io."""
