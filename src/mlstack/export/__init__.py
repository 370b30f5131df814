"""From a trained network to a bundle, smaller and faster ones too, and what each of them costs."""
