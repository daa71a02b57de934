package spacelift

// LogTail is the end of one state's log.
type LogTail struct {
	Text     string
	Cut      bool // the log has more before Text
	Complete bool // Text reaches the end of the log as written so far
	Expired  bool // Spacelift keeps logs for a while only, and has deleted this one
}
