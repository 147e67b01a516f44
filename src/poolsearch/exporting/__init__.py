"""A trained network as files that stand alone: plain PyTorch code, weights, ONNX. May import ``nets`` and ``space``."""
