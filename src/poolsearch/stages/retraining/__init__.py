"""The parts of retraining: who is trained, and opening the test split."""
