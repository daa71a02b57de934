package spacelift

// Listing is the result of a search.
type Listing[T any] struct {
	Items    []T
	Complete bool // false when the search stopped at its limit: there may be more
}
