"""Scorers: one small module for each kind of task, all behind `base.Scorer`."""
