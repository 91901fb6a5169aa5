{{/*
Groups of alerting rules, as a rules file of Prometheus has them: a PrometheusRule and a ConfigMap are made of the same text.
docs/runbooks has a page per alert; tests/chart/test_alerts.py shows each firing and not firing.
*/}}
{{- define "relay-operator.alert-labels" -}}
{{- range $name, $value := .root.Values.alerts.labels }}
{{ $name }}: {{ $value | quote }}
{{- end }}
severity: {{ .severity }}
{{- end }}
{{- define "relay-operator.alert-annotations" -}}
{{- range $name, $value := .root.Values.alerts.annotations }}
{{ $name }}: {{ $value | quote }}
{{- end }}
runbook_url: {{ printf "%s/%s.md" (.root.Values.alerts.runbookUrl | default "docs/runbooks" | trimSuffix "/") .alert | quote }}
{{- end }}
{{- define "relay-operator.rules" -}}
{{- $operator := printf "%s=%q" .Values.prometheus.labels.job .Values.alerts.jobs.operator }}
{{- $relays := printf "%s=%q" .Values.prometheus.labels.job .Values.alerts.jobs.relays }}
{{- $slo := printf "%s=%q" .Values.prometheus.labels.job .Values.prometheus.job }}
{{- $namespace := .Values.prometheus.labels.namespace }}
{{- $limits := .Values.alerts.thresholds }}
groups:
- name: relay-operator-canaries
  rules:
  - alert: RelayCanaryRolledBack
    expr: max by (namespace, route) (relay_operator_route_phase{ {{- $operator }}, phase="RolledBack"}) == 1
    labels: {{- include "relay-operator.alert-labels" (dict "root" . "severity" "warning") | trim | nindent 6 }}
    annotations:
      summary: {{`"The canary of route {{ $labels.route }} in {{ $labels.namespace }} was rolled back."`}}
      description: {{`"All traffic is on stable, and the canary is not tried again by itself. Read why: kubectl -n {{ $labels.namespace }} describe relayroute {{ $labels.route }}. Then fix its provider and annotate the route as the condition Ready says, or take the canary out of the spec."`}}
      {{- include "relay-operator.alert-annotations" (dict "root" . "alert" "RelayCanaryRolledBack") | trim | nindent 6 }}
  - alert: RelayCanaryFrozen
    expr: max by (namespace, route) (relay_operator_route_phase{ {{- $operator }}, phase="Frozen"}) == 1
    for: {{ $limits.frozenFor }}
    labels: {{- include "relay-operator.alert-labels" (dict "root" . "severity" "warning") | trim | nindent 6 }}
    annotations:
      summary: {{`"The canary of route {{ $labels.route }} in {{ $labels.namespace }} is frozen."`}}
      description: {{`"Its weight stays where it is: either both sides fail together, or stable alone, then look at the providers; or it broke a limit and onBreach is Freeze, then decide as the condition Ready says. kubectl -n {{ $labels.namespace }} describe relayroute {{ $labels.route }} tells which."`}}
      {{- include "relay-operator.alert-annotations" (dict "root" . "alert" "RelayCanaryFrozen") | trim | nindent 6 }}
  - alert: RelayCanaryStuck
    expr: |-
      max by (namespace, route) (relay_operator_route_step_overdue{ {{- $operator }}}) == 1
      or
      (time() - max by (namespace, route) (relay_operator_route_step_due_timestamp_seconds{ {{- $operator }}}) > {{ $limits.stuckSeconds }}
        and on (namespace, route) max by (namespace, route) (relay_operator_route_phase{ {{- $operator }}, phase=~"Progressing|Baking"}) == 1)
    labels: {{- include "relay-operator.alert-labels" (dict "root" . "severity" "warning") | trim | nindent 6 }}
    annotations:
      summary: {{`"The canary of route {{ $labels.route }} in {{ $labels.namespace }} has not passed its step for too long."`}}
      description: {{`"Too few calls, no healthy verdict, or a step's deadline is over. kubectl -n {{ $labels.namespace }} describe relayroute {{ $labels.route }} says what the step lacks: send traffic, lower minRequests, or look at the verdict."`}}
      {{- include "relay-operator.alert-annotations" (dict "root" . "alert" "RelayCanaryStuck") | trim | nindent 6 }}
  - alert: RelayCanaryPreflightFailing
    # one that has passed and waits for something else is Ready
    expr: |-
      max by (namespace, route) (relay_operator_route_phase{ {{- $operator }}, phase="Preflight"}) == 1
      and on (namespace, route) max by (namespace, route) (relay_operator_route_ready{ {{- $operator }}}) == 0
    for: {{ $limits.preflightFor }}
    labels: {{- include "relay-operator.alert-labels" (dict "root" . "severity" "warning") | trim | nindent 6 }}
    annotations:
      summary: {{`"The canary of route {{ $labels.route }} in {{ $labels.namespace }} does not answer its preflight."`}}
      description: {{`"No traffic goes to it. The condition Ready names what the relay pods met (address, key, model, stream): kubectl -n {{ $labels.namespace }} describe relayroute {{ $labels.route }}. Correct the Provider; the relays try again by themselves."`}}
      {{- include "relay-operator.alert-annotations" (dict "root" . "alert" "RelayCanaryPreflightFailing") | trim | nindent 6 }}
  - alert: RelayCanaryAwaitsApproval
    expr: max by (namespace, route) (relay_operator_route_awaiting_approval{ {{- $operator }}}) == 1
    for: {{ $limits.approvalFor }}
    labels: {{- include "relay-operator.alert-labels" (dict "root" . "severity" "info") | trim | nindent 6 }}
    annotations:
      summary: {{`"The canary of route {{ $labels.route }} in {{ $labels.namespace }} waits for approval."`}}
      description: {{`"Its step is passed. kubectl -n {{ $labels.namespace }} get relayroute {{ $labels.route }} -o wide has the annotation that lets it go on."`}}
      {{- include "relay-operator.alert-annotations" (dict "root" . "alert" "RelayCanaryAwaitsApproval") | trim | nindent 6 }}
  - alert: RelayCanaryUnmeasurable
    expr: time() - max by (namespace, route) (relay_operator_route_unmeasurable_since_timestamp_seconds{ {{- $operator }}}) > {{ $limits.unmeasurableSeconds }}
    labels: {{- include "relay-operator.alert-labels" (dict "root" . "severity" "warning") | trim | nindent 6 }}
    annotations:
      summary: {{`"The canary of route {{ $labels.route }} in {{ $labels.namespace }} cannot be measured."`}}
      description: {{`"Its weight does not rise, and a breach would go unseen but for the breakers of the relays. Look whether Prometheus answers the operator and scrapes every relay pod of {{ $labels.namespace }}; the condition AnalysisAvailable of the route says what is missing."`}}
      {{- include "relay-operator.alert-annotations" (dict "root" . "alert" "RelayCanaryUnmeasurable") | trim | nindent 6 }}
  - alert: RelayCanaryBreakerOpen
    expr: max by ({{ $namespace }}, route) (relay_slo_breaker_open{ {{- $slo }}}) == 1
    for: {{ $limits.breakerFor }}
    labels: {{- include "relay-operator.alert-labels" (dict "root" . "severity" "warning") | trim | nindent 6 }}
    annotations:
      summary: {{ printf `"Relay pods keep calls away from the canary of route {{ $labels.route }} in {{ $labels.%s }}."` $namespace }}
      description: {{ printf `"It failed several calls in a row, and those that probe it fail too. Its calls go to stable. Look at the canary's provider; if most pods agree, the route is rolled back: kubectl -n {{ $labels.%s }} describe relayroute {{ $labels.route }}."` $namespace }}
      {{- include "relay-operator.alert-annotations" (dict "root" . "alert" "RelayCanaryBreakerOpen") | trim | nindent 6 }}
- name: relay-operator-service
  rules:
  - alert: RelayOverheadHigh
    expr: |-
      histogram_quantile(0.99, sum by ({{ $namespace }}, le) (rate(relay_overhead_seconds_bucket{ {{- $relays }}}[5m]))) > {{ $limits.overheadP99Seconds }}
      and on ({{ $namespace }}) sum by ({{ $namespace }}) (increase(relay_overhead_seconds_count{ {{- $relays }}}[5m])) >= {{ $limits.minRequests }}
    for: {{ $limits.serviceFor }}
    labels: {{- include "relay-operator.alert-labels" (dict "root" . "severity" "warning") | trim | nindent 6 }}
    annotations:
      summary: {{ printf `"The relay in {{ $labels.%s }} adds {{ $value | humanizeDuration }} to one call in a hundred."` $namespace }}
      description: {{ printf `"That is its own time, without queue and provider. Look at the CPU of its pods (throttling, a full node), and give the Tenant more replicas or a higher limit: kubectl -n {{ $labels.%s }} top pods."` $namespace }}
      {{- include "relay-operator.alert-annotations" (dict "root" . "alert" "RelayOverheadHigh") | trim | nindent 6 }}
  - alert: RelayFirstTokenSlow
    expr: |-
      histogram_quantile(0.99, sum by ({{ $namespace }}, route, side, le) (rate(relay_time_to_first_token_seconds_bucket{ {{- $relays }}}[5m]))) > {{ $limits.firstTokenP99Seconds }}
      and on ({{ $namespace }}, route, side) sum by ({{ $namespace }}, route, side) (increase(relay_time_to_first_token_seconds_count{ {{- $relays }}}[5m])) >= {{ $limits.minRequests }}
    for: {{ $limits.serviceFor }}
    labels: {{- include "relay-operator.alert-labels" (dict "root" . "severity" "warning") | trim | nindent 6 }}
    annotations:
      summary: {{ printf `"One call in a hundred of route {{ $labels.route }} in {{ $labels.%s }} waits {{ $value | humanizeDuration }} for its first token from {{ $labels.side }}."` $namespace }}
      description: {{ printf `"The provider of that side is slow. kubectl -n {{ $labels.%s }} get relayroute {{ $labels.route }} shows which it is; move traffic with a canary, or set percent to 0 if it is the canary."` $namespace }}
      {{- include "relay-operator.alert-annotations" (dict "root" . "alert" "RelayFirstTokenSlow") | trim | nindent 6 }}
  - alert: RelayErrors
    expr: |-
      sum by ({{ $namespace }}) (rate(relay_requests_total{ {{- $relays }}, status=~"5.."}[5m]))
        / sum by ({{ $namespace }}) (rate(relay_requests_total{ {{- $relays }}}[5m])) > {{ $limits.errorPercent }} / 100
      and on ({{ $namespace }}) sum by ({{ $namespace }}) (increase(relay_requests_total{ {{- $relays }}}[5m])) >= {{ $limits.minRequests }}
    for: {{ $limits.serviceFor }}
    labels: {{- include "relay-operator.alert-labels" (dict "root" . "severity" "critical") | trim | nindent 6 }}
    annotations:
      summary: {{ printf `"{{ $value | humanizePercentage }} of the calls to the relay in {{ $labels.%s }} are answered with a server error."` $namespace }}
      description: {{ printf `"relay_upstream_attempts_total by route, side and outcome tells whether it is a provider, and which. Give its route a fallback, or move traffic away from it; a canary that fails is rolled back by itself. relay_rejections_total{%s=\"{{ $labels.%s }}\"} tells of the relay's own refusals."` $namespace $namespace }}
      {{- include "relay-operator.alert-annotations" (dict "root" . "alert" "RelayErrors") | trim | nindent 6 }}
  - alert: RelayCertificateExpiring
    expr: min by ({{ $namespace }}) (relay_tls_certificate_expiration_timestamp_seconds{ {{- $relays }}}) - time() < {{ $limits.certificateSeconds }}
    labels: {{- include "relay-operator.alert-labels" (dict "root" . "severity" "critical") | trim | nindent 6 }}
    annotations:
      summary: {{ printf `"The certificate that the relay in {{ $labels.%s }} serves ends soon or has ended, or it serves none."` $namespace }}
      description: {{ printf `"Callers refuse the relay once it has ended. Look at what should renew the Secret in spec.network.tls of the Tenant; its condition CertificateReady says what is wrong. A renewed one in {{ $labels.%s }} is loaded without a restart."` $namespace }}
      {{- include "relay-operator.alert-annotations" (dict "root" . "alert" "RelayCertificateExpiring") | trim | nindent 6 }}
  - alert: RelayPreviousKeyInUse
    expr: |-
      max by (namespace, key) (relay_operator_api_key_previous_until_timestamp_seconds{ {{- $operator }}}) - time() < {{ $limits.previousKeySeconds }}
      and on (namespace, key)
        time() - label_replace(max by ({{ $namespace }}, key) (relay_api_key_last_used_timestamp_seconds{ {{- $relays }}, generation="previous"}), "namespace", "$1", {{ $namespace | quote }}, "(.*)") < 900
    for: 15m
    labels: {{- include "relay-operator.alert-labels" (dict "root" . "severity" "warning") | trim | nindent 6 }}
    annotations:
      summary: {{`"Callers in {{ $labels.namespace }} still use the previous API key {{ $labels.key }}, which is refused in {{ $value | humanizeDuration }}."`}}
      description: {{`"Let them read the current key from the Secret relay-api-keys, or give them time: raise keyRotation.overlap of the Tenant, which counts for the overlap under way. relay_api_key_last_used_timestamp_seconds tells when each key was last used."`}}
      {{- include "relay-operator.alert-annotations" (dict "root" . "alert" "RelayPreviousKeyInUse") | trim | nindent 6 }}
- name: relay-operator-operator
  rules:
  - alert: RelayPodsNotProgrammed
    expr: max by (namespace, tenant) (relay_operator_tenant_relay_pods_programmed{ {{- $operator }}}) < max by (namespace, tenant) (relay_operator_tenant_relay_pods{ {{- $operator }}})
    for: {{ $limits.notProgrammedFor }}
    labels: {{- include "relay-operator.alert-labels" (dict "root" . "severity" "critical") | trim | nindent 6 }}
    annotations:
      summary: {{`"Only {{ $value }} relay pods of tenant {{ $labels.tenant }} are ready and run the newest configuration."`}}
      description: {{`"The others are missing, not ready, or cut off from the operator: they go on with an older configuration, and a rollback does not reach them. kubectl describe tenant {{ $labels.tenant }} and kubectl -n {{ $labels.namespace }} get pods tell why."`}}
      {{- include "relay-operator.alert-annotations" (dict "root" . "alert" "RelayPodsNotProgrammed") | trim | nindent 6 }}
  - alert: RelayKeyRotationOverdue
    expr: time() - max by (namespace, tenant, key) (relay_operator_api_key_rotation_due_timestamp_seconds{ {{- $operator }}}) > {{ $limits.keyRotationOverdueSeconds }}
    labels: {{- include "relay-operator.alert-labels" (dict "root" . "severity" "warning") | trim | nindent 6 }}
    annotations:
      summary: {{`"The rotation of API key {{ $labels.key }} of tenant {{ $labels.tenant }} is overdue by {{ $value | humanizeDuration }}."`}}
      description: {{`"The condition CredentialsReady says what it waits for: a relay pod that does not take the next key, a Secret that is immutable, or an API server that refuses the write. kubectl describe tenant {{ $labels.tenant }}."`}}
      {{- include "relay-operator.alert-annotations" (dict "root" . "alert" "RelayKeyRotationOverdue") | trim | nindent 6 }}
  - alert: RelayTenantNotIsolated
    expr: max by (namespace, tenant) (relay_operator_tenant_isolated{ {{- $operator }}}) == 0
    for: 1m
    labels: {{- include "relay-operator.alert-labels" (dict "root" . "severity" "critical") | trim | nindent 6 }}
    annotations:
      summary: {{`"Nothing keeps the relay of tenant {{ $labels.tenant }} apart from others."`}}
      description: {{`"A relay pod in {{ $labels.namespace }} reached what its network policies forbid, or was reached by the operator. The condition Isolated says what: kubectl describe tenant {{ $labels.tenant }}. Look for NetworkPolicies in {{ $labels.namespace }} that the operator did not write, and, where it is several tenants, at the network plugin of their nodes."`}}
      {{- include "relay-operator.alert-annotations" (dict "root" . "alert" "RelayTenantNotIsolated") | trim | nindent 6 }}
  - alert: RelayRolloutStopped
    expr: |-
      sum(relay_operator_rollout_tenants{ {{- $operator }}, state="stuck"}) > 0
      and sum(relay_operator_rollout_tenants{ {{- $operator }}, state="waiting"}) > 0
    for: {{ $limits.rolloutStoppedFor }}
    labels: {{- include "relay-operator.alert-labels" (dict "root" . "severity" "warning") | trim | nindent 6 }}
    annotations:
      summary: A change of the platform (the image, a tier) goes to no further tenant.
      description: {{`"New relay pods of {{ $value }} tenants do not become available; the former ones serve, and all other tenants are as before. The condition RolledOut of a Tenant with the reason RolloutStuck says why: kubectl describe tenants. Mend the cause, or undo the change with helm rollback; it goes on by itself."`}}
      {{- include "relay-operator.alert-annotations" (dict "root" . "alert" "RelayRolloutStopped") | trim | nindent 6 }}
  - alert: RelayTenantNotReady
    # one that is not isolated has an alert of its own
    expr: |-
      max by (namespace, tenant) (relay_operator_tenant_ready{ {{- $operator }}}) == 0
      unless on (namespace, tenant) max by (namespace, tenant) (relay_operator_tenant_isolated{ {{- $operator }}}) == 0
    for: {{ $limits.notReadyFor }}
    labels: {{- include "relay-operator.alert-labels" (dict "root" . "severity" "warning") | trim | nindent 6 }}
    annotations:
      summary: {{`"Tenant {{ $labels.tenant }} is not Ready."`}}
      description: {{`"The condition Ready says why and what to do: kubectl describe tenant {{ $labels.tenant }}."`}}
      {{- include "relay-operator.alert-annotations" (dict "root" . "alert" "RelayTenantNotReady") | trim | nindent 6 }}
  - alert: RelayRouteNotReady
    # what has an alert of its own is left out
    expr: |-
      max by (namespace, route) (relay_operator_route_ready{ {{- $operator }}}) == 0
      unless on (namespace, route) (
        max by (namespace, route) (relay_operator_route_phase{ {{- $operator }}, phase=~"RolledBack|Frozen|Preflight"}) == 1
        or max by (namespace, route) (relay_operator_route_step_overdue{ {{- $operator }}}) == 1
        or max by (namespace, route) (relay_operator_route_awaiting_approval{ {{- $operator }}}) == 1
        or max by (namespace, route) (relay_operator_route_unmeasurable_since_timestamp_seconds{ {{- $operator }}})
      )
    for: {{ $limits.notReadyFor }}
    labels: {{- include "relay-operator.alert-labels" (dict "root" . "severity" "warning") | trim | nindent 6 }}
    annotations:
      summary: {{`"Route {{ $labels.route }} in {{ $labels.namespace }} is not Ready."`}}
      description: {{`"Its spec is refused or cannot be brought into force, or its canary waits for something that does not come by itself; callers are served as before. The condition Ready says why and what to do: kubectl -n {{ $labels.namespace }} describe relayroute {{ $labels.route }}."`}}
      {{- include "relay-operator.alert-annotations" (dict "root" . "alert" "RelayRouteNotReady") | trim | nindent 6 }}
  - alert: RelayWebhookFailing
    expr: sum(increase(relay_operator_webhook_messages_total{ {{- $operator }}, outcome!="delivered"}[15m])) > 0
    labels: {{- include "relay-operator.alert-labels" (dict "root" . "severity" "warning") | trim | nindent 6 }}
    annotations:
      summary: Messages about canaries or budgets did not reach the webhook's receiver.
      description: {{ printf "They were tried for an hour, or gave way to newer ones, or the receiver said that it is gone (410). kubectl -n %s logs -l app.kubernetes.io/name=relay-operator says what it answered. Nothing else depends on it; Events and status have the same." .Release.Namespace | quote }}
      {{- include "relay-operator.alert-annotations" (dict "root" . "alert" "RelayWebhookFailing") | trim | nindent 6 }}
  - alert: RelayOperatorWithoutLeader
    expr: sum by (shard) (relay_operator_leader{ {{- $operator }}}) == 0
    for: {{ $limits.operatorAbsentFor }}
    labels: {{- include "relay-operator.alert-labels" (dict "root" . "severity" "critical") | trim | nindent 6 }}
    annotations:
      summary: No operator of the relays leads.
      description: {{ printf "The operators run and none of them acts: relays go on with their last configuration, and their breakers still act; but no canary is raised, and one that breaks a limit is rolled back only while the API server does not answer at all. Their logs say why the Lease cannot be held: kubectl -n %s logs -l app.kubernetes.io/name=relay-operator; kubectl -n %s describe leases. Most often the API server answers late (operator.leaseSeconds) or refuses." .Release.Namespace .Release.Namespace | quote }}
      {{- include "relay-operator.alert-annotations" (dict "root" . "alert" "RelayOperatorWithoutLeader") | trim | nindent 6 }}
  - alert: RelayOperatorGivesLeadBack
    expr: sum(increase(relay_operator_leads_given_back_total{ {{- $operator }}}[15m])) > 1.5
    labels: {{- include "relay-operator.alert-labels" (dict "root" . "severity" "warning") | trim | nindent 6 }}
    annotations:
      summary: Operators of the relays win the lead and give it back.
      description: {{ printf "Who won it did not see the cluster as the API server lists it: its watches are deaf, or a list is refused. Until one sees it nobody acts: relays go on with their last configuration and their breakers, and no canary is judged. The log says which watch or list: kubectl -n %s logs -l app.kubernetes.io/name=relay-operator | grep 'lead given back'." .Release.Namespace | quote }}
      {{- include "relay-operator.alert-annotations" (dict "root" . "alert" "RelayOperatorGivesLeadBack") | trim | nindent 6 }}
  - alert: RelayOperatorAbsent
    expr: absent(up{ {{- $operator }}} == 1)
    for: {{ $limits.operatorAbsentFor }}
    labels: {{- include "relay-operator.alert-labels" (dict "root" . "severity" "critical") | trim | nindent 6 }}
    annotations:
      summary: Prometheus does not reach the operator of the relays.
      description: {{ printf "Relays go on with their last configuration, and their breakers still act; but no canary is judged, raised or rolled back, and no change is brought into force. kubectl -n %s get pods -l app.kubernetes.io/name=relay-operator, and look at its log; then at the scrape job." .Release.Namespace | quote }}
      {{- include "relay-operator.alert-annotations" (dict "root" . "alert" "RelayOperatorAbsent") | trim | nindent 6 }}
{{ include "relay-operator.own-rules" . }}
{{ include "relay-operator.ledger-rules" . }}
{{- end }}
