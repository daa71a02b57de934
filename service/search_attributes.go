package service

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/operatorservice/v1"
	"go.temporal.io/sdk/client"

	"github.com/gantryhq/gantry/decide/managed"
)

// prepareNamespace adds our search attributes to the namespace. Without them,
// every execution would stall at its first step.
func prepareNamespace(ctx context.Context, c client.Client, o Options) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	const kind = enums.INDEXED_VALUE_TYPE_KEYWORD
	have, err := c.OperatorService().ListSearchAttributes(ctx, &operatorservice.ListSearchAttributesRequest{Namespace: o.Temporal.Namespace})
	if err != nil {
		return fmt.Errorf("list search attributes: %w", err)
	}
	missing := map[string]enums.IndexedValueType{}
	for _, name := range managed.SearchAttributes() {
		switch got, ok := have.GetCustomAttributes()[name]; {
		case !ok:
			missing[name] = kind
		case got != kind:
			return fmt.Errorf("search attribute %s is a %s in namespace %s, but must be a %s: remove it first", name, got, o.Temporal.Namespace, kind)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	names := slices.Sorted(maps.Keys(missing))
	if _, err := c.OperatorService().AddSearchAttributes(ctx, &operatorservice.AddSearchAttributesRequest{Namespace: o.Temporal.Namespace, SearchAttributes: missing}); err != nil {
		return errors.Join(fmt.Errorf("add search attributes %s: %w", strings.Join(names, ", "), err),
			fmt.Errorf("an administrator can add them: temporal operator search-attribute create --namespace %s --type Keyword --name %s", o.Temporal.Namespace, strings.Join(names, " --name ")))
	}
	o.Log.InfoContext(ctx, "search attributes added", "namespace", o.Temporal.Namespace, "names", names)
	return nil
}
