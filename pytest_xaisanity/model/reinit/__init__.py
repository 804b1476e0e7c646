"""New weights for a layer: what they are drawn from, the drawing, and the weights that others compute."""
