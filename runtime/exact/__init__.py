"""The network at full size on a card, with PyTorch; imported only when chosen."""
