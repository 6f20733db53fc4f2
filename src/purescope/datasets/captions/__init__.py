"""Load images with captions: one file for each format, and one frozen `CaptionDataset`."""
