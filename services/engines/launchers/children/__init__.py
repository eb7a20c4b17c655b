"""Programs that run as engines, in processes of their own; the portal does not import them."""
