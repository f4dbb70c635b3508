"""Fault injection: batches and trainings are killed repeatedly and must stay intact."""
