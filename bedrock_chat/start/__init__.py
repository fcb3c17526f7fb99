"""What makes the start of a process cheap."""
