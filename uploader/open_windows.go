package uploader

// nonblock is nothing: a file below a root is no FIFO here.
const nonblock = 0

func leased(error) bool { return false }
