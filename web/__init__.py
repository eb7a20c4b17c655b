"""What the ASGI application has beside Streamlit's screens: the guard at the door, and the sign-in forms."""
