{{- /* what the release's objects are called: its name, made a name that a Service can have too (RFC 1035) */}}
{{- define "relay-operator.name" -}}
{{- $name := .Release.Name | replace "." "-" }}
{{- regexMatch "^[0-9]" $name | ternary (printf "r%s" $name) $name }}
{{- end }}

{{- /* the same for objects of the whole cluster: two releases have two names, whatever their namespaces; in the usual one it is the short one */}}
{{- define "relay-operator.clusterName" -}}
{{ include "relay-operator.name" . }}{{ if ne .Release.Namespace "relay-system" }}.{{ .Release.Namespace }}{{ end }}
{{- end }}

{{- /* names of all operators, as JSON: "" for the main ones, then the shards in their order */}}
{{- define "relay-operator.shards" -}}
{{- $names := list "" }}
{{- range .Values.operator.shards }}
{{- if has .name $names }}
{{- fail (printf "operator.shards has two shards of the name %s: give each a name of its own" .name) }}
{{- end }}
{{- $instance := printf "%s-%s" (include "relay-operator.name" $) .name }}
{{- if gt (len $instance) 63 }}
{{- fail (printf "the operators of shard %s would be called %s, which has %d characters; a label has at most 63: give the shard or the release a shorter name" .name $instance (len $instance)) }}
{{- end }}
{{- $names = append $names .name }}
{{- end }}
{{- toJson $names }}
{{- end }}

{{- /* what the objects of the operators of a shard are called, and their pods are told apart by */}}
{{- define "relay-operator.instance" -}}
{{- $name := include "relay-operator.name" . }}
{{- .shard | empty | ternary $name (printf "%s-%s" $name (.shard | default "")) }}
{{- end }}

{{- /* labels that the pods of all operators have, and no others of the namespace */}}
{{- define "relay-operator.allPods" -}}
app.kubernetes.io/name=relay-operator,app.kubernetes.io/{{ .Values.operator.shards | empty | ternary "instance" "part-of" }}={{ include "relay-operator.name" . }}
{{- end }}

{{- define "relay-operator.allPodsSelector" -}}
app.kubernetes.io/name: relay-operator
app.kubernetes.io/{{ .Values.operator.shards | empty | ternary "instance" "part-of" }}: {{ include "relay-operator.name" . }}
{{- end }}

{{- define "relay-operator.labels" -}}
app.kubernetes.io/name: relay-operator
app.kubernetes.io/instance: {{ include "relay-operator.instance" . }}
{{- with .Values.operator.shards }}
app.kubernetes.io/part-of: {{ include "relay-operator.name" $ }}
{{- end }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- /* metadata.annotations that every object has, after its labels; nothing without any */}}
{{- define "relay-operator.annotations" }}
{{- with .Values.commonAnnotations }}
  annotations: {{- toYaml . | nindent 4 }}
{{- end }}
{{- end }}

{{- define "relay-operator.selector" -}}
app.kubernetes.io/name: relay-operator
app.kubernetes.io/instance: {{ include "relay-operator.instance" . }}
{{- end }}
{{- define "relay-operator.image" -}}
{{ .Values.image.repository }}{{ with .Values.image.digest }}@{{ . }}{{ else }}:{{ .Values.image.tag | default .Chart.AppVersion }}{{ end }}
{{- end }}
{{- define "relay-operator.tenantRole" -}}
{{ include "relay-operator.name" . }}-tenant
{{- end }}

{{- define "relay-operator.account" -}}
system:serviceaccount:{{ .Release.Namespace }}:{{ include "relay-operator.name" . }}
{{- end }}

{{- /* names of the Secrets that the operator writes in tenants' namespaces */}}
{{- define "relay-operator.secrets" -}}
['relay-api-keys', 'relay-upstream', 'relay-image-pull', 'relay-ledger']
{{- end }}

{{- define "relay-operator.breakGlassGroups" -}}
{{- $admission := .Values.admission | default dict }}
{{- hasKey $admission "breakGlassGroups" | ternary $admission.breakGlassGroups (list "relay-operator:break-glass") | toJson }}
{{- end }}

{{- define "relay-operator.breakGlass" -}}
{{- include "relay-operator.breakGlassGroups" . | fromJsonArray | join " or " | default "a group of admission.breakGlassGroups, which names none" }}
{{- end }}

{{- /* CEL: whether `key` with its value in a map is what mutating admission of the platform sets on namespaces; of (map, entries) */}}
{{- define "relay-operator.ofPlatform" -}}
{{- $map := index . 0 }}
{{- $found := list "false" }}
{{- range $key, $value := index . 1 }}
{{- $found = append $found (eq $value "*" | ternary (printf "key == '%s'" $key) (printf "(key == '%s' && %s[key] == '%s')" $key $map $value)) }}
{{- end }}
{{- join " || " $found }}
{{- end }}

{{- /*
A matchCondition: false in a release that is not the cluster's, since its account is bound to no rights (rbac.yaml). Its policies would
take the operator of the other one for a stranger.
*/}}
{{- define "relay-operator.isBound" -}}
- name: is-of-the-release-that-operates
  expression: {{ printf "authorizer.serviceAccount('%s', '%s').group('relay-operator.dev').resource('tenants').subresource('status').check('patch').allowed()" .Release.Namespace (include "relay-operator.name" .) | quote }}
{{- end }}

{{- /* matchConditions: true for everybody but the operator, the cluster's own controllers and nodes, and break-glass groups */}}
{{- define "relay-operator.concerned" -}}
{{- $admission := .Values.admission | default dict }}
{{- $groups := concat (list "system:nodes" "system:serviceaccounts:kube-system") ($admission.exemptGroups | default list) (include "relay-operator.breakGlassGroups" . | fromJsonArray) }}
{{- $users := concat (list "system:apiserver" "system:kube-controller-manager" "system:kube-scheduler" "system:cloud-controller-manager") ($admission.exemptUsers | default list) }}
- name: is-not-the-operator
  expression: {{ printf "request.userInfo.username != '%s'" (include "relay-operator.account" .) | quote }}
- name: is-not-the-control-plane
  expression: {{ printf "!(request.userInfo.username in %s)" (toJson $users) | quote }}
- name: is-in-no-exempt-group
  expression: {{ printf "!has(request.userInfo.groups) || !request.userInfo.groups.exists(one, one in %s)" (toJson $groups) | quote }}
{{ include "relay-operator.isBound" . }}
{{- end }}

{{- /* labels of Prometheus' pods; none for every pod of its namespace */}}
{{- define "relay-operator.prometheusPods" -}}
{{- $labels := dict }}
{{- range hasKey .Values.prometheus "podSelector" | ternary .Values.prometheus.podSelector "app.kubernetes.io/name=prometheus" | splitList "," }}
{{- if . }}
{{- $label := splitn "=" 2 . }}
{{- $_ := set $labels $label._0 $label._1 }}
{{- end }}
{{- end }}
{{- toJson $labels }}
{{- end }}

{{- /* labels of the cluster's DNS pods; nothing for every pod of their namespace */}}
{{- define "relay-operator.dnsPods" -}}
{{- $usual := eq .Values.dns.namespace "kube-system" | ternary "k8s-app=kube-dns" "" }}
{{- kindIs "string" .Values.dns.podSelector | ternary .Values.dns.podSelector $usual }}
{{- end }}

{{- define "relay-operator.clusterDomain" -}}
{{ (.Values.network | default dict).clusterDomain | default "cluster.local" }}
{{- end }}

{{/* operator.priority; the chart's default for values that an older release was installed with. */}}
{{- define "relay-operator.priority" -}}
{{- hasKey .Values.operator "priority" | ternary .Values.operator.priority 1000000 | int }}
{{- end }}

{{/* PriorityClass of the operator's pods: the platform's, else one of the release's name; nothing for the cluster's default. */}}
{{- define "relay-operator.priorityClass" -}}
{{- if .Values.operator.priorityClassName }}
{{- .Values.operator.priorityClassName }}
{{- else if ne (include "relay-operator.priority" .) "0" }}
{{- include "relay-operator.name" . }}
{{- end }}
{{- end }}

{{/* Labels of what runs beside the operators and is none of them: no selector of theirs has it; of (root, component) */}}
{{- define "relay-operator.besideLabels" -}}
app.kubernetes.io/name: relay-operator-{{ .component }}
app.kubernetes.io/instance: {{ include "relay-operator.name" .root }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* A pod of the image that runs one command and ends; of (root, account, command, ports, volumes) */}}
{{- define "relay-operator.onePod" -}}
restartPolicy: Never
serviceAccountName: {{ .account }}
enableServiceLinks: false
{{- with .root.Values.image.pullSecrets }}
imagePullSecrets:
{{- range . }}
- name: {{ . | quote }}
{{- end }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  seccompProfile: {type: RuntimeDefault}
containers:
- name: {{ .component }}
  image: {{ include "relay-operator.image" .root | quote }}
  imagePullPolicy: {{ .root.Values.image.pullPolicy }}
  command: {{ .command | toJson }}
  {{- with .port }}
  ports:
  - {name: provider, containerPort: {{ . }}}
  {{- end }}
  resources:
    requests: {cpu: 50m, memory: 96Mi, ephemeral-storage: 16Mi}
    limits: {memory: 256Mi, ephemeral-storage: 128Mi}
  securityContext:
    allowPrivilegeEscalation: false
    readOnlyRootFilesystem: true
    capabilities: {drop: [ALL]}
  {{- with .mount }}
  volumeMounts:
  - {name: files, mountPath: {{ . }}, readOnly: true}
  {{- end }}
{{- with .configMap }}
volumes:
- {name: files, configMap: {name: {{ . }}}}
{{- end }}
{{- with .root.Values.operator.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .root.Values.operator.tolerations }}
tolerations: {{- toYaml . | nindent 0 }}
{{- end }}
{{- end }}

{{/*
What linters are to leave alone, as annotations, each with its reason; of the list of those checks that hold for more than one object.
kube-score wants a policy for what goes out, too: policies know addresses only, and those of API servers differ per cluster. What its
check says of connections that come in is held by tests/chart/test_linters.py.
*/}}
{{- define "relay-operator.leaveAlone" -}}
checkov.io/skip1: "CKV_K8S_11=no CPU limit: throttling delays rollbacks, and the request guarantees a share"
checkov.io/skip2: "CKV_K8S_38=it works through the API server"
checkov.io/skip3: "CKV_K8S_43=image.digest names the image by digest where the platform wants it"
checkov.io/skip4: "CKV_K8S_15=image.pullPolicy says Always where tags are moved"
# for the reasons of skip1 and skip4; its one check of resources wants limits of CPU too, the rest of it checkov holds
kube-score/ignore: container-resources,container-image-pull-policy,pod-networkpolicy{{ if eq (.component | default "") "trial" }},pod-probes{{ end }}{{ if eq (.component | default "") "ledger-of-one" }},deployment-strategy,deployment-replicas{{ end }}
{{- end }}
