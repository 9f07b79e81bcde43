"""What stages of several families need done before their own work."""
