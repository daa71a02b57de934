// Package archive keeps the deliveries that people list: a SQLite database, with a
// column and an index for what lists select by, and the rest as JSON. It is given
// everything and asks nobody: if it is lost, its user writes it anew.
//
// # Guarantees
//
//   - A write is one transaction: the archive has all of a [Batch], and its Through, or
//     nothing.
//   - A damaged file is put aside and reported, and a new one is started.
//   - Each kind of delivery has a [Budget]. A pending delivery beyond it is added again
//     if it becomes dead.
//   - A list costs what it shows: each filter finds its rows in an index, and that of
//     accounts has the statuses too. Of several other filters one does, and the others are
//     checked in the columns of these rows. Only [Filter.Only] has to be given each row's
//     columns; what it leaves out isn't decoded.
//
// All methods of [DB] may be called concurrently, except Close.
package archive
