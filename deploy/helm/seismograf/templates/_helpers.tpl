{{- define "seismograf.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "seismograf.fullname" -}}
{{- $name := include "seismograf.name" . -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "seismograf.selectorLabels" -}}
app.kubernetes.io/name: {{ include "seismograf.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: agent
{{- end -}}

{{- define "seismograf.labels" -}}
{{ include "seismograf.selectorLabels" . }}
app.kubernetes.io/part-of: seismograf
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- end -}}

{{- define "seismograf.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "seismograf.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "seismograf.secretName" -}}
{{- default (include "seismograf.fullname" .) .Values.secret.name -}}
{{- end -}}

{{- define "seismograf.image" -}}
{{ .Values.image.repo }}:{{ .Values.image.tag }}
{{- end -}}

{{- /* A value as TOML has it. Helm has read every number as a fraction. */ -}}
{{- define "seismograf.tomlValue" -}}
{{- if kindIs "map" . -}}
{ {{- $separator := " " }}{{ range $key, $value := . }}{{ if not (kindIs "invalid" $value) }}{{ $separator }}{{ $key | toRawJson }} = {{ include "seismograf.tomlValue" $value }}{{ $separator = ", " }}{{ end }}{{ end }} }
{{- else if kindIs "slice" . -}}
[{{ range $i, $value := . }}{{ if $i }}, {{ end }}{{ include "seismograf.tomlValue" $value }}{{ end }}]
{{- else if kindIs "string" . -}}
{{ . | toRawJson }}
{{- else if and (kindIs "float64" .) (eq (. | int64 | float64) .) -}}
{{ . | int64 }}
{{- else -}}
{{ . }}
{{- end -}}
{{- end -}}

{{- /* The lines of one table. */ -}}
{{- define "seismograf.tomlTable" -}}
{{- range $key, $value := . }}
{{- if not (kindIs "invalid" $value) }}
  {{ $key }} = {{ include "seismograf.tomlValue" $value }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "seismograf.config" -}}
{{- if .Values.override_config.toml -}}
{{ .Values.override_config.toml }}
{{- else -}}
{{- $config := .Values.config -}}
{{- range $name := list "global_tags" "agent" }}
{{- with index $config $name }}
[{{ $name }}]
{{- include "seismograf.tomlTable" . }}
{{ end }}
{{- end }}
{{- range $kind := list "inputs" "processors" "aggregators" "outputs" }}
{{- range $section := index $config $kind }}
{{- range $name, $options := $section }}
[[{{ $kind }}.{{ $name }}]]
{{- include "seismograf.tomlTable" $options }}
{{ end }}
{{- end }}
{{- end }}
{{- if $config.monitor_self }}
[[inputs.internal]]
{{ end }}
{{- with $config.docker_endpoint }}
[[inputs.docker]]
{{- /* A socket of the host is looked for where its files are mounted, so that one that is made again is found. */}}
{{- if hasPrefix "unix://" . }}
  endpoint = {{ printf "unix:///rootfs%s" (trimPrefix "unix://" . | replace "/var/run/" "/run/") | toRawJson }}
{{- else }}
  endpoint = {{ . | toRawJson }}
{{- end }}
{{ end }}
{{- end -}}
{{- end -}}

{{- /* The variables that a configuration may name. */ -}}
{{- define "seismograf.env" -}}
{{- $secret := include "seismograf.secretName" . -}}
- name: HOSTNAME
  valueFrom:
    fieldRef:
      fieldPath: spec.nodeName
- name: NODE_IP
  valueFrom:
    fieldRef:
      fieldPath: status.hostIP
{{- $own := list "HOST_MOUNT_PREFIX" "HOST_PROC" "HOST_SYS" "HOST_VAR" "HOST_RUN" "HOST_DEV" }}
{{- range $name := $own }}
- name: {{ $name }}
  value: /rootfs{{ ne $name "HOST_MOUNT_PREFIX" | ternary (printf "/%s" (trimPrefix "HOST_" $name | lower)) "" }}
{{- end }}
{{- range $key := list "env" "monitor_host" "monitor_database" "monitor_username" "monitor_password" }}
- name: {{ upper $key }}
  valueFrom:
    secretKeyRef:
      name: {{ $secret }}
      key: {{ $key }}
{{- end }}
{{- /* The name that telegraf-ds has for the address. */}}
{{- $own = concat $own (list "HOSTNAME" "NODE_IP") }}
{{- $named := list }}
{{- range .Values.env }}
{{- $named = append $named .name }}
{{- if not (has .name $own) }}
- {{ toYaml . | nindent 2 | trim }}
{{- end }}
{{- end }}
{{- if and (contains "$HOSTIP" (include "seismograf.config" .) ) (not (has "HOSTIP" $named)) }}
- name: HOSTIP
  valueFrom:
    fieldRef:
      fieldPath: status.hostIP
{{- end }}
{{- end -}}
