"""Bodies of images and documents: where they are stored, who refers to them, who may read them."""
