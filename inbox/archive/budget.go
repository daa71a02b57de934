package archive

// Budget limits a kind of deliveries by number and by bytes, approximately.
type Budget struct {
	Count int
	Bytes int64
}

// Or returns the budget with the default's limits in place of zero ones.
func (b Budget) Or(def Budget) Budget {
	if b.Count <= 0 {
		b.Count = def.Count
	}
	if b.Bytes <= 0 {
		b.Bytes = def.Bytes
	}
	return b
}

// Budgets limit the deliveries of an archive by kind. Zero fields mean their default.
type Budgets struct {
	// Entries limits the accepted deliveries that are pending, forwarded or late, each.
	// Default 50,000 and 128 MiB.
	Entries Budget
	// Dead limits deliveries that Temporal refused permanently, with their bodies.
	// Default 10,000 and 64 MiB.
	Dead Budget
	// Ignored limits the ignored, duplicate and unavailable deliveries, each.
	// Default 20,000 and 16 MiB.
	Ignored Budget
	// Refused limits the refused deliveries. Default 5,000 and 4 MiB.
	Refused Budget
	// Unreadable limits the ignored deliveries that have their bodies. Default 1,000
	// and 8 MiB.
	Unreadable Budget
}

// OrDefaults returns the budgets with their defaults.
func (b Budgets) OrDefaults() Budgets {
	return Budgets{
		Entries: b.Entries.Or(Budget{50_000, 128 << 20}), Dead: b.Dead.Or(Budget{10_000, 64 << 20}), Ignored: b.Ignored.Or(Budget{20_000, 16 << 20}),
		Refused: b.Refused.Or(Budget{5_000, 4 << 20}), Unreadable: b.Unreadable.Or(Budget{1_000, 8 << 20}),
	}
}
