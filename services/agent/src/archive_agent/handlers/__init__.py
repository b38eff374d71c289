"""A question comes in; evidence, steps and an answer go out."""
