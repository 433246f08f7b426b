"""How robust a trained model is."""
