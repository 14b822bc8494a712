"""Train the annotator from labelled files, measure it, write its card. Imports scikit-learn."""
