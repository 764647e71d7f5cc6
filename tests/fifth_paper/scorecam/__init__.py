"""Score-CAM: class activation maps without gradients."""
