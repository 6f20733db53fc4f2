"""Write a model in the form of another library; one file for each form."""
