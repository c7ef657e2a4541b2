package main

// The query parameters of the verbs, as version 2 writes them.
var (
	listParameters = []object{
		query("allowWatchBookmarks", "boolean"), query("continue", "string"), query("fieldSelector", "string"),
		query("labelSelector", "string"), query("limit", "integer"), query("resourceVersion", "string"),
		query("resourceVersionMatch", "string"), query("sendInitialEvents", "boolean"),
		query("timeoutSeconds", "integer"), query("watch", "boolean"), query("pretty", "string"),
	}
	writeParameters = []object{
		query("dryRun", "string"), query("fieldManager", "string"), query("fieldValidation", "string"), query("pretty", "string"),
	}
	patchParameters  = append(writeParameters[:len(writeParameters):len(writeParameters)], query("force", "boolean"))
	deleteParameters = []object{
		query("dryRun", "string"), query("gracePeriodSeconds", "integer"), query("orphanDependents", "boolean"),
		query("propagationPolicy", "string"), query("pretty", "string"),
	}
)

func query(name, kind string) object {
	return object{"name": name, "in": "query", "type": kind, "uniqueItems": true}
}
