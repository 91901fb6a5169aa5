{{- /* values of the ledger; a release that was made before them has none where values are reused */}}
{{- define "relay-operator.ledger" -}}
{{- $ledger := .Values.ledger | default dict }}
{{- $database := $ledger.database | default dict }}
{{- $keys := $ledger.keys | default dict }}
{{- /* its longest name, that of a Service, is NAME-ledger-pods */}}
{{- $short := include "relay-operator.name" . | trunc 51 | trimSuffix "-" }}
{{- dict
  "enabled" ($ledger.enabled | default false)
  "name" (printf "%s-ledger" $short)
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

{{- /* ranges that are not public, as relays' own policies have them; the API server refuses IPv4-mapped addresses in a policy */}}
{{- define "relay-operator.notPublicV4" -}}
{{- list
  "0.0.0.0/8" "10.0.0.0/8" "100.64.0.0/10" "127.0.0.0/8" "169.254.0.0/16" "172.16.0.0/12"
  "192.0.0.0/24" "192.168.0.0/16" "198.18.0.0/15" "224.0.0.0/4" "240.0.0.0/4" | toJson }}
{{- end }}

{{- define "relay-operator.notPublicV6" -}}
{{- list
  "::/128" "::1/128" "64:ff9b::/96" "64:ff9b:1::/48" "2001::/32" "2002::/16" "fc00::/7" "fe80::/10"
  "fec0::/10" "ff00::/8" | toJson }}
{{- end }}
