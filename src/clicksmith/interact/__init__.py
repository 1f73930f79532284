"""How fields interact: blocks, the layers that follow them, and the composers that nest them."""
