{{- define "relay-operator.labels" -}}
app.kubernetes.io/name: relay-operator
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}
{{- define "relay-operator.selector" -}}
app.kubernetes.io/name: relay-operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}
{{- define "relay-operator.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}
{{- define "relay-operator.tenantRole" -}}
{{ .Release.Name }}-tenant
{{- end }}
