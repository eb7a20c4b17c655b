"""What turns a file into text: runs in limited children only, on input made by strangers."""
