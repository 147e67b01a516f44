"""A ranking that learns from stand-alone trainings what supernet scores and multiply-adds are worth here. No torch."""
