"""How every process bounds the lines of its log that can come again and again."""
