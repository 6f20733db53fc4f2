"""What this documentation needs beside Sphinx."""
