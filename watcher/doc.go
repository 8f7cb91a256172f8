// Package watcher finds work: a change stream that reacts within milliseconds, a slower poll that catches
// whatever the stream missed, and the queue of keys that both feed. It never decides whether a file is to
// be uploaded and knows nothing of sites; a key only says "look at this representation".
package watcher
