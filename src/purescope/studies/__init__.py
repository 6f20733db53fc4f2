"""Studies: one question a module, plain functions from features and projections to tidy tables."""
