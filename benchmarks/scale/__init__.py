"""What a fleet needs: a model, the costs that it is made of, and a simulation that it is checked by."""
