{{/*
The group of rules about the ledger, beside those of _alerts.tpl. Without a ledger there are no series that they could fire on.
*/}}
{{- define "relay-operator.ledger-rules" -}}
{{- $operator := printf "%s=%q" .Values.prometheus.labels.job .Values.alerts.jobs.operator }}
{{- $relays := printf "%s=%q" .Values.prometheus.labels.job .Values.alerts.jobs.relays }}
{{- $ledger := printf "%s=%q" .Values.prometheus.labels.job "relay-ledger" }}
{{- $deployment := (include "relay-operator.ledger" . | fromJson).name }}
{{- $namespace := .Values.prometheus.labels.namespace }}
{{- $pod := .Values.prometheus.labels.pod }}
{{- $limits := .Values.alerts.thresholds }}
{{- $values := .Values.ledger | default dict }}
{{- $space := mul ($values.outboxMebibytes | default 64) 1048576 }}
{{- /* never before the second audit should have ended: one that is less often audited would be overdue always */}}
{{- $overdue := max (int64 ($limits.auditOverdueSeconds | default 0)) (mul (add (mul 2 (int64 ($values.auditHours | default 24))) 2) 3600) }}
- name: relay-operator-ledger
  rules:
  - alert: RelayLedgerDown
    expr: |-
      sum(increase(relay_outbox_deliveries_total{ {{- $relays }}, answer!="200"}[10m])) > 0
      unless sum(increase(relay_outbox_deliveries_total{ {{- $relays }}, answer="200"}[10m])) > 0
    for: {{ $limits.ledgerDownFor }}
    labels: {{- include "relay-operator.alert-labels" (dict "root" . "severity" "warning") | trim | nindent 6 }}
    annotations:
      summary: The ledger takes no records from any relay.
      description: {{ printf "Calls are served, and relays keep what they have to tell as long as there is room (relay_outbox_bytes). relay_outbox_deliveries_total by answer tells how it fails: none is no answer, 503 its database, 401 its keys. kubectl -n %s logs -l app.kubernetes.io/name=relay-operator-ledger tells why." .Release.Namespace | quote }}
      {{- include "relay-operator.alert-annotations" (dict "root" . "alert" "RelayLedgerDown") | trim | nindent 6 }}
  - alert: RelayOutboxFilling
    expr: |-
      max by ({{ $namespace }}, {{ $pod }}) (relay_outbox_bytes{ {{- $relays }}}) / {{ $space }} > {{ $limits.outboxPercent }} / 100
    for: 5m
    labels: {{- include "relay-operator.alert-labels" (dict "root" . "severity" "warning") | trim | nindent 6 }}
    annotations:
      summary: {{ printf `"{{ $value | humanizePercentage }} of the room for records is used in relay pod {{ $labels.%s }} in {{ $labels.%s }}."` $pod $namespace }}
      description: {{ printf `"What does not fit any more is dropped, and no bill has it; with ledger.outboxWhenFull=refuse calls are refused instead. relay_outbox_deliveries_total{%s=\"{{ $labels.%s }}\"} tells whether the ledger answers; if it does, it is slower than the calls are made. More room is ledger.outboxMebibytes of the chart, which rolls all relays: let them deliver first."` $namespace $namespace }}
      {{- include "relay-operator.alert-annotations" (dict "root" . "alert" "RelayOutboxFilling") | trim | nindent 6 }}
  - alert: RelayRecordsDropped
    expr: |-
      sum by ({{ $namespace }}) (increase(relay_outbox_records_dropped_total{ {{- $relays }}}[15m])) > 0
    labels: {{- include "relay-operator.alert-labels" (dict "root" . "severity" "critical") | trim | nindent 6 }}
    annotations:
      summary: {{ printf `"Relays in {{ $labels.%s }} drop records of calls: no bill will have them."` $namespace }}
      description: {{ printf `"The room for records is full, or its disk is. relay_outbox_bytes{%s=\"{{ $labels.%s }}\"} and the log event outbox_room of its pods tell which: kubectl -n {{ $labels.%s }} logs -l app.kubernetes.io/name=relay. Bring the ledger back; what is kept is delivered by itself."` $namespace $namespace $namespace }}
      {{- include "relay-operator.alert-annotations" (dict "root" . "alert" "RelayRecordsDropped") | trim | nindent 6 }}
  - alert: RelayRecordsQuarantined
    expr: |-
      sum by ({{ $namespace }}) (increase(relay_outbox_records_quarantined_total{ {{- $relays }}}[1h])) > 0
    labels: {{- include "relay-operator.alert-labels" (dict "root" . "severity" "warning") | trim | nindent 6 }}
    annotations:
      summary: {{ printf `"The ledger keeps records of {{ $labels.%s }} apart and does not book them."` $namespace }}
      description: {{ printf "relay_ledger_quarantined_records_total by reason tells why: early and late are clocks, conflict is two records of one attempt that differ, unreadable a relay of another version, unbookable what the database cannot hold. kubectl -n %s logs -l app.kubernetes.io/name=relay-operator-ledger has more." .Release.Namespace | quote }}
      {{- include "relay-operator.alert-annotations" (dict "root" . "alert" "RelayRecordsQuarantined") | trim | nindent 6 }}
  - alert: RelayLedgerAuditDiffers
    expr: |-
      max(relay_ledger_audit_differences{ {{- $ledger }}}) > 0
    labels: {{- include "relay-operator.alert-labels" (dict "root" . "severity" "critical") | trim | nindent 6 }}
    annotations:
      summary: {{`"Sums of the ledger are not those of their postings: {{ $value }}."`}}
      description: {{ printf "What reports, budgets and statements say of these quarters of an hour is not what was booked. The log events audit_difference and audit_unbalanced name them: kubectl -n %s logs -l app.kubernetes.io/name=relay-operator-ledger. Make no statement final before the cause is known." .Release.Namespace | quote }}
      {{- include "relay-operator.alert-annotations" (dict "root" . "alert" "RelayLedgerAuditDiffers") | trim | nindent 6 }}
  - alert: RelayLedgerAuditOverdue
    expr: |-
      time() - max(relay_ledger_audit_timestamp_seconds{ {{- $ledger }}}) > {{ $overdue }}
    for: 2h
    labels: {{- include "relay-operator.alert-labels" (dict "root" . "severity" "warning") | trim | nindent 6 }}
    annotations:
      summary: The ledger has not been audited for long.
      description: {{ printf "An audit follows a quarter of an hour after the start, then every ledger.auditHours. It ends without a result while the database does not answer (log event database_away), or by a defect (log event failed): kubectl -n %s logs -l app.kubernetes.io/name=relay-operator-ledger." .Release.Namespace | quote }}
      {{- include "relay-operator.alert-annotations" (dict "root" . "alert" "RelayLedgerAuditOverdue") | trim | nindent 6 }}
  - alert: RelayAttemptsUnpriced
    expr: |-
      max by (account) (relay_operator_unpriced_models{ {{- $operator }}}) > 0
    for: 15m
    labels: {{- include "relay-operator.alert-labels" (dict "root" . "severity" "warning") | trim | nindent 6 }}
    annotations:
      summary: {{`"Models or tools without a price ({{ $labels.account }}) are booked without an amount: {{ $value }}."`}}
      description: "The condition Priced of Providers (cost), ToolServers (tool_cost) and Tenants (charge) names them: kubectl get providers.relay-operator.dev,toolservers,tenants -o json. Add the price, then book the difference with relay-ledger prices reprice."
      {{- include "relay-operator.alert-annotations" (dict "root" . "alert" "RelayAttemptsUnpriced") | trim | nindent 6 }}
  - alert: RelayUnpricedCallsRefused
    expr: |-
      sum by ({{ $namespace }}) (increase(relay_rejections_total{ {{- $relays }}, reason="model_unpriced"}[15m])) > 0
    labels: {{- include "relay-operator.alert-labels" (dict "root" . "severity" "warning") | trim | nindent 6 }}
    annotations:
      summary: {{ printf `"Calls in {{ $labels.%s }} are refused because their model has no price."` $namespace }}
      description: "Such calls are refused where spec.billing.onUnpriced of the Tenant is Refuse, as it is by default where a budget, credit or a cap of sessions bounds money. Price the model in the Tenant's PriceList (perPiece too, for calls that may search the web), take prices of the past out where its condition Priced says TooManyPrices, or write onUnpriced: Serve."
      {{- include "relay-operator.alert-annotations" (dict "root" . "alert" "RelayUnpricedCallsRefused") | trim | nindent 6 }}
  - alert: RelayBudgetAlertsUndelivered
    expr: |-
      max(relay_operator_budget_alerts_undelivered{ {{- $operator }}}) > 0
    labels: {{- include "relay-operator.alert-labels" (dict "root" . "severity" "warning") | trim | nindent 6 }}
    annotations:
      summary: {{`"Alerts of budgets that the webhook's receiver has not taken for three days: {{ $value }}."`}}
      description: {{ printf "They are kept and not tried any more. kubectl -n %s exec deploy/%s -- relay-ledger alerts lists them, and with --send-again the operator sends them once the receiver takes messages." .Release.Namespace $deployment | quote }}
      {{- include "relay-operator.alert-annotations" (dict "root" . "alert" "RelayBudgetAlertsUndelivered") | trim | nindent 6 }}
  - alert: RelayBudgetSpent
    expr: |-
      max(relay_operator_budgets_spent{ {{- $operator }}}) > 0
    labels: {{- include "relay-operator.alert-labels" (dict "root" . "severity" "info") | trim | nindent 6 }}
    annotations:
      summary: {{`"Budgets or credits of which nothing is left: {{ $value }}."`}}
      description: "Calls of a tenant with a hard budget are refused with 429 insufficient_quota. The condition WithinBudget of a Tenant says so, and when its budget renews: kubectl describe tenants. A larger budget or more credit counts within seconds."
      {{- include "relay-operator.alert-annotations" (dict "root" . "alert" "RelayBudgetSpent") | trim | nindent 6 }}
{{- end }}
