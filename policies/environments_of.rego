# METADATA
# title: Whether an entry speaks about this environment
# description: |
#   Entries of `signatures`, `grants` and other lists may say `environments`, so that one set of data serves several scopes.
#   One that does not say so speaks about every environment; an empty list speaks about none.
package witgate.environments_of

here(entry) if not "environments" in object.keys(entry)

here(entry) if input.scope.environment in entry.environments
