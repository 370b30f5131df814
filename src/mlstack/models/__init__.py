"""Networks. `catalog.py` knows their names without a framework; each framework has a folder of its own."""
