"""How good the tickets are, as a number anyone can reproduce."""
