{{/*
The group of rules about the operator's own work, beside those of _alerts.tpl: what comes before anybody notices it on a canary.
*/}}
{{- define "relay-operator.own-rules" -}}
{{- $operator := printf "%s=%q" .Values.prometheus.labels.job .Values.alerts.jobs.operator }}
{{- $limits := .Values.alerts.thresholds }}
{{- $logs := printf "kubectl -n %s logs -l app.kubernetes.io/name=relay-operator" .Release.Namespace }}
- name: relay-operator-own-work
  rules:
  - alert: RelayOperatorTwoLeaders
    expr: |-
      sum by (shard) (relay_operator_leader{ {{- $operator }}}) > 1
    for: 2m
    labels: {{- include "relay-operator.alert-labels" (dict "root" . "severity" "critical") | trim | nindent 6 }}
    annotations:
      summary: "More than one operator of the relays says that it leads."
      description: {{ printf `"Each change may be made by either. Relays take documents from the later one alone (relay_operator_leader_epoch), and writes to the API server carry the version that they are for, so nothing is lost; but one of them stands on a clock that does not tell the truth. Delete the pod with the lower epoch: kubectl -n %s get pods, and look at its node."` .Release.Namespace }}
      {{- include "relay-operator.alert-annotations" (dict "root" . "alert" "RelayOperatorTwoLeaders") | trim | nindent 6 }}
  - alert: RelayOperatorLeaderChanges
    expr: |-
      max by (shard) (max_over_time(relay_operator_leader_epoch{ {{- $operator }}}[5m]))
        - max by (shard) (max_over_time(relay_operator_leader_epoch{ {{- $operator }}}[5m] offset 1h)) > {{ $limits.leaderChangesPerHour }}
    labels: {{- include "relay-operator.alert-labels" (dict "root" . "severity" "warning") | trim | nindent 6 }}
    annotations:
      summary: {{`"The lead among the operators of the relays has changed {{ $value | humanize }} times within an hour."`}}
      description: {{ printf `"Nobody acts for some seconds each time. %s says why each lead was lost: an API server that answers later than operator.leaseSeconds allows (relay_operator_api_request_duration_seconds), a process that stood still (relay_operator_loop_lag_seconds), pods that are evicted or restarted."` $logs }}
      {{- include "relay-operator.alert-annotations" (dict "root" . "alert" "RelayOperatorLeaderChanges") | trim | nindent 6 }}
  {{- if gt (int (.Values.operator.replicas | default 2)) 1 }}
  - alert: RelayOperatorAlone
    expr: |-
      count(up{ {{- $operator }}} == 1) < {{ mul (.Values.operator.replicas | default 2) (include "relay-operator.shards" . | fromJsonArray | len) }}
    for: 15m
    labels: {{- include "relay-operator.alert-labels" (dict "root" . "severity" "warning") | trim | nindent 6 }}
    annotations:
      summary: {{`"Only {{ $value }} operators of the relays run."`}}
      description: {{ printf `"The next node that goes may leave canaries that nobody watches. kubectl -n %s get pods -o wide and kubectl -n %s describe pods tell why the others are missing: no room, no image, or a restart that repeats."` .Release.Namespace .Release.Namespace }}
      {{- include "relay-operator.alert-annotations" (dict "root" . "alert" "RelayOperatorAlone") | trim | nindent 6 }}
  {{- end }}
  - alert: RelayOperatorWatchSilent
    expr: |-
      max by (watch) (relay_operator_watch_age_seconds{ {{- $operator }}}) > {{ $limits.watchSilentSeconds }}
    for: 5m
    labels: {{- include "relay-operator.alert-labels" (dict "root" . "severity" "warning") | trim | nindent 6 }}
    annotations:
      summary: {{`"The operator's watch of {{ $labels.watch }} has been silent for {{ $value | humanizeDuration }}."`}}
      description: {{ printf `"An API server sends a bookmark about once a minute. Look first whether it answers: relay_operator_api_requests_total by code. If it does, something between it and the operator swallows the stream. A watch of tenants, providers or relayroutes that lacks what there is ends its pod; other changes are found by the next resync. %s."` $logs }}
      {{- include "relay-operator.alert-annotations" (dict "root" . "alert" "RelayOperatorWatchSilent") | trim | nindent 6 }}
  - alert: RelayOperatorQueueSlow
    expr: |-
      max by (urgency) (relay_operator_queue_oldest_seconds{ {{- $operator }}, urgency=~"immediate|urgent"}) > {{ $limits.urgentWaitSeconds }}
      or max by (urgency) (relay_operator_queue_oldest_seconds{ {{- $operator }}, urgency="normal"}) > {{ $limits.normalWaitSeconds }}
    for: 5m
    labels: {{- include "relay-operator.alert-labels" (dict "root" . "severity" "warning") | trim | nindent 6 }}
    annotations:
      summary: {{`"Changes ({{ $labels.urgency }}) wait {{ $value | humanizeDuration }} for the operator."`}}
      description: {{`"Workers are busy or held up. relay_operator_reconcile_duration_seconds by kind and outcome tells with what, relay_operator_api_request_duration_seconds whether it is the API server, relay_operator_loop_lag_seconds whether it is the operator's CPU. What is urgent takes traffic away from something: rollbacks by the SLO check do not wait here, lowered percents do."`}}
      {{- include "relay-operator.alert-annotations" (dict "root" . "alert" "RelayOperatorQueueSlow") | trim | nindent 6 }}
  - alert: RelayOperatorDefect
    expr: |-
      sum by (kind, outcome) (increase(relay_operator_reconcile_duration_seconds_count{ {{- $operator }}, outcome=~"defect|given_up"}[15m])) > 0
    labels: {{- include "relay-operator.alert-labels" (dict "root" . "severity" "warning") | trim | nindent 6 }}
    annotations:
      summary: {{`"Reconciles of a {{ $labels.kind }} do not come to their end ({{ $labels.outcome }})."`}}
      description: {{ printf `"The object concerned is tried again and again and tells of it by its condition Ready; all others are worked on. %s has the error and its object. A defect is to be reported with that."` $logs }}
      {{- include "relay-operator.alert-annotations" (dict "root" . "alert" "RelayOperatorDefect") | trim | nindent 6 }}
  - alert: RelayOperatorApiErrors
    expr: |-
      sum(rate(relay_operator_api_requests_total{ {{- $operator }}, code=~"none|429|5.."}[5m]))
        / sum(rate(relay_operator_api_requests_total{ {{- $operator }}}[5m])) > {{ $limits.apiErrorPercent }} / 100
    for: {{ $limits.operatorFor }}
    labels: {{- include "relay-operator.alert-labels" (dict "root" . "severity" "warning") | trim | nindent 6 }}
    annotations:
      summary: {{`"The API server does not serve {{ $value | humanizePercentage }} of the operator's requests."`}}
      description: {{`"relay_operator_api_requests_total by verb and code tells how: none is no answer in time, 429 its priority and fairness, 5xx an error of its own. Reconciles are repeated. Without any answer the lead ends after five sixths of operator.leaseSeconds: nothing is raised, promoted or taken in; breakers and the last leader still take weight away."`}}
      {{- include "relay-operator.alert-annotations" (dict "root" . "alert" "RelayOperatorApiErrors") | trim | nindent 6 }}
  - alert: RelayOperatorLoopLag
    expr: |-
      histogram_quantile(0.99, sum by (instance, le) (rate(relay_operator_loop_lag_seconds_bucket{ {{- $operator }}}[5m]))) > {{ $limits.loopLagP99Seconds }}
    for: {{ $limits.operatorFor }}
    labels: {{- include "relay-operator.alert-labels" (dict "root" . "severity" "warning") | trim | nindent 6 }}
    annotations:
      summary: {{`"The event loop of operator {{ $labels.instance }} is {{ $value | humanizeDuration }} late."`}}
      description: {{ printf `"Everything in it waits for as long: watches, pushes, the SLO check, the Lease. Look at its CPU: kubectl -n %s top pods; a CPU limit, a full node, or a fleet that has outgrown one process (docs/scale.md)."` .Release.Namespace }}
      {{- include "relay-operator.alert-annotations" (dict "root" . "alert" "RelayOperatorLoopLag") | trim | nindent 6 }}
  - alert: RelayOperatorTickSlow
    expr: |-
      histogram_quantile(0.99, sum by (le) (rate(relay_operator_slo_tick_duration_seconds_bucket{ {{- $operator }}}[5m]))) > {{ $limits.tickP99Seconds }}
    for: {{ $limits.operatorFor }}
    labels: {{- include "relay-operator.alert-labels" (dict "root" . "severity" "warning") | trim | nindent 6 }}
    annotations:
      summary: {{`"A look at all active canaries takes {{ $value | humanizeDuration }}."`}}
      description: {{`"Rollbacks come that much later. Prometheus answers late, as its own metrics of queries tell, or the operator has too little CPU (relay_operator_loop_lag_seconds)."`}}
      {{- include "relay-operator.alert-annotations" (dict "root" . "alert" "RelayOperatorTickSlow") | trim | nindent 6 }}
  - alert: RelayOperatorPushesSlow
    expr: |-
      histogram_quantile(0.99, sum by (le) (rate(relay_operator_push_duration_seconds_bucket{ {{- $operator }}, outcome=~"acknowledged|kept"}[5m]))) > {{ $limits.pushP99Seconds }}
    for: {{ $limits.operatorFor }}
    labels: {{- include "relay-operator.alert-labels" (dict "root" . "severity" "warning") | trim | nindent 6 }}
    annotations:
      summary: {{`"Relay pods take {{ $value | humanizeDuration }} to take a new configuration in."`}}
      description: {{ printf `"Rollbacks reach callers that much later. Pods that do not answer at all are told of by RelayPodsNotProgrammed. Look at the CPU of relay pods (kubectl top pods -A -l app.kubernetes.io/name=relay) and at relay_operator_loop_lag_seconds: kubectl -n %s top pods."` .Release.Namespace }}
      {{- include "relay-operator.alert-annotations" (dict "root" . "alert" "RelayOperatorPushesSlow") | trim | nindent 6 }}
{{- end }}
