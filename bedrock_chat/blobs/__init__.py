"""Bodies of images and documents: where they are stored, what refers to them, who may read them."""
