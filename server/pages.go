package server

import (
	"encoding/base64"
	"strings"
)

const defaultPageSize = 50

func pageSize(asked *int) int {
	if asked == nil {
		return defaultPageSize
	}
	return *asked
}

// listing is a list with its filters, as far as page tokens are concerned: a
// token of one listing means nothing in another, and is refused there.
type listing struct{ digest string }

// listingOf returns the listing of what a list is made of, in order.
func listingOf(parts ...string) listing {
	all := make([][]byte, len(parts))
	for i, p := range parts {
		all[i] = []byte(p)
	}
	return listing{digest(all...)[:16]}
}

// token makes a page token of the place at which the next page begins; none of none.
func (l listing) token(place string) *string {
	if place == "" {
		return nil
	}
	return new(base64.RawURLEncoding.EncodeToString([]byte(l.digest + place)))
}

// place returns what a page token was made of, and nothing for none.
func (l listing) place(token *string) (string, error) {
	if token == nil {
		return "", nil
	}
	text, err := base64.RawURLEncoding.DecodeString(*token)
	if err != nil || len(text) <= len(l.digest) {
		return "", badPageToken("was not issued by this API; leave it out to start from the first page")
	}
	place, ours := strings.CutPrefix(string(text), l.digest)
	if !ours {
		return "", badPageToken("is of another list, or of this one with other filters; give the same, or leave it out to start from the first page")
	}
	return place, nil
}

func badPageToken(detail string) error {
	return &refusal{badPlaces(parameterError("pageToken", detail))}
}
