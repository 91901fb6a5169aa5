{{- /* values of the ledger; a release that was made before them has none where values are reused */}}
{{- define "relay-operator.ledger" -}}
{{- $ledger := .Values.ledger | default dict }}
{{- $database := $ledger.database | default dict }}
{{- $keys := $ledger.keys | default dict }}
{{- dict
  "enabled" ($ledger.enabled | default false)
  "name" (printf "%s-ledger" (include "relay-operator.name" .))
  "onPostgresql" (not (empty $database.secretName))
  "keysSecret" ($keys.secretName | default (printf "%s-ledger-keys" (include "relay-operator.name" .)))
  "keysEntry" ($keys.secretKey | default "keys")
  "makesKeys" (empty $keys.secretName)
  | toJson }}
{{- end }}

{{- /* labels by which the ledger's pods are known */}}
{{- define "relay-operator.ledgerSelector" -}}
app.kubernetes.io/name: relay-operator-ledger
app.kubernetes.io/instance: {{ include "relay-operator.name" . }}
{{- end }}

{{- /* the keys of tokens: those that are there, or one that is made now. Keys that changed by themselves would shut relays out */}}
{{- define "relay-operator.ledgerKeys" -}}
{{- $ledger := include "relay-operator.ledger" . | fromJson }}
{{- $made := lookup "v1" "Secret" .Release.Namespace $ledger.keysSecret }}
{{- $entries := $made.data | default dict }}
{{- get $entries $ledger.keysEntry | default (randAlphaNum 64 | b64enc) }}
{{- end }}
