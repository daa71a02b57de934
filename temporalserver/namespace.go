package temporalserver

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/server/common/log"
	"go.temporal.io/server/common/metrics"
	"go.temporal.io/server/common/persistence"
	"go.temporal.io/server/common/persistence/serialization"
	"go.temporal.io/server/common/persistence/sql"
	"go.temporal.io/server/common/persistence/sql/sqlplugin"
	"go.temporal.io/server/common/resolver"
	"go.temporal.io/server/common/searchattribute/sadefs"
	schema "go.temporal.io/server/schema/sqlite"
	"google.golang.org/protobuf/types/known/durationpb"
)

// ensureNamespace creates the namespace, or adds its missing settings. It writes
// to the database before Temporal starts: a search attribute that is added through
// the running server takes seconds to reach all caches.
func (s *store) ensureNamespace(ctx context.Context, name string, retention time.Duration, attributes map[string]enums.IndexedValueType) error {
	if retention < 0 {
		return fmt.Errorf("retention %v is negative", retention)
	}
	fresh, err := schema.NewNamespaceConfig(clusterName, name, false, nil)
	if err != nil {
		return fmt.Errorf("describe: %w", err)
	}
	fresh.Detail.GetConfig().Retention = durationpb.New(DefaultRetention)
	if err := schema.CreateNamespaces(s.main, fresh); err != nil {
		return fmt.Errorf("create: %w", err)
	}

	db, err := sql.NewSQLDB(sqlplugin.DbKindMain, s.main, resolver.NewNoopResolver(), log.NewNoopLogger(), metrics.NoopMetricsHandler)
	if err != nil {
		return fmt.Errorf("open database: %w", err)
	}
	defer func() { _ = db.Close() }()
	rows, err := db.SelectFromNamespace(ctx, sqlplugin.NamespaceFilter{Name: &name})
	if err != nil {
		return fmt.Errorf("read: %w", err)
	}
	row := rows[0]
	codec := serialization.NewSerializer()
	detail, err := codec.NamespaceDetailFromBlob(persistence.NewDataBlob(row.Data, row.DataEncoding))
	if err != nil {
		return fmt.Errorf("decode: %w", err)
	}

	settings := detail.GetConfig()
	if retention > 0 {
		settings.Retention = durationpb.New(retention)
	}
	settings.CustomSearchAttributeAliases, err = withAttributes(settings.GetCustomSearchAttributeAliases(), attributes)
	if err != nil {
		return err
	}

	blob, err := codec.NamespaceDetailToBlob(detail)
	if err != nil {
		return fmt.Errorf("encode: %w", err)
	}
	row.Data, row.DataEncoding = blob.GetData(), blob.GetEncodingType().String()
	if _, err := db.UpdateNamespace(ctx, &row); err != nil {
		return fmt.Errorf("update: %w", err)
	}
	return nil
}

// withAttributes assigns a column of its type to every attribute that has none. In
// SQL stores, a custom search attribute is a namespace's name for one of the
// prepared columns Keyword01, Int02 and so on.
func withAttributes(names map[string]string, attributes map[string]enums.IndexedValueType) (map[string]string, error) {
	columns := sadefs.GetDBIndexSearchAttributes(nil).GetCustomSearchAttributes()
	names = maps.Clone(names)
	if names == nil {
		names = make(map[string]string)
	}
	columnOf := make(map[string]string, len(names))
	for column, name := range names {
		columnOf[name] = column
	}
	free := slices.DeleteFunc(slices.Sorted(maps.Keys(columns)), func(column string) bool {
		_, taken := names[column]
		return taken
	})

	for _, name := range slices.Sorted(maps.Keys(attributes)) {
		kind := attributes[name]
		if sadefs.IsReserved(name) {
			return nil, fmt.Errorf("search attribute %q: the name is reserved by Temporal", name)
		}
		if column, ok := columnOf[name]; ok {
			if columns[column] != kind {
				return nil, fmt.Errorf("search attribute %q has type %v and cannot become %v", name, columns[column], kind)
			}
			continue
		}
		i := slices.IndexFunc(free, func(column string) bool { return columns[column] == kind })
		if i < 0 {
			return nil, fmt.Errorf("search attribute %q: %w", name, noColumn(kind, columns))
		}
		names[free[i]] = name
		free = slices.Delete(free, i, i+1)
	}
	return names, nil
}

func noColumn(kind enums.IndexedValueType, columns map[string]enums.IndexedValueType) error {
	count := 0
	for _, k := range columns {
		if k == kind {
			count++
		}
	}
	if count == 0 {
		return errors.New("it has no type")
	}
	return fmt.Errorf("a namespace has at most %d of type %v", count, kind)
}
