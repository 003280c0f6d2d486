{{- define "ingresskit.labels" -}}
app.kubernetes.io/name: {{ .Release.Name }}
{{- end -}}

{{- define "ingresskit.image" -}}
{{- $suffix := eq .Values.renderer "inprocess" | ternary "" (printf "-%s" .Values.renderer) -}}
{{- .Values.image.repository | default (printf "registry.example/ingresskit%s" $suffix) -}}
:{{- .Values.image.tag | default .Chart.AppVersion -}}
{{- end -}}

{{- define "ingresskit.hostNetwork" -}}
{{- if and (eq .Values.mode "edge") .Values.edge.hostNetwork -}}true{{- end -}}
{{- end -}}

{{- define "ingresskit.subjects" -}}
subjects:
  - kind: ServiceAccount
    name: {{ .Release.Name }}
    namespace: {{ .Release.Namespace }}
{{- end -}}

{{- define "ingresskit.args" -}}
{{- if include "ingresskit.hostNetwork" . }}
- --http=0.0.0.0:80
- --https=0.0.0.0:443
- --admin=127.0.0.1:8580
{{- else }}
- --http=0.0.0.0:8080
- --https=0.0.0.0:8443
- --admin=0.0.0.0:8580
{{- end }}
- --max-namespace-hosts={{ .Values.maxNamespaceHosts }}
{{- if eq .Values.mode "replicas" }}
- --publish-service={{ .Release.Namespace }}/{{ .Release.Name }}
{{- end }}
- --state-dir=/tmp/ingresskit
- --log-format=json
- --shutdown-delay={{ eq .Values.mode "edge" | ternary "5s" "15s" }}
- --shutdown-grace=30s
{{- if and (eq .Values.mode "replicas") (eq .Values.service.type "NodePort") }}
- --publish-node-addresses
{{- end }}
{{- range .Values.watchNamespaces }}
- --watch-namespace={{ . }}
{{- end }}
{{- if ne .Values.renderer "inprocess" }}
- --renderer={{ .Values.renderer }}
{{- end }}
{{- if .Values.dashboard.enabled }}
- --admin-auth=basic:/etc/ingresskit/admin/users
- --admin-host={{ .Values.dashboard.host }}
{{- end }}
{{- if .Values.tcpServices }}
- --tcp-services-configmap={{ .Release.Namespace }}/{{ .Release.Name }}-tcp-services
{{- end }}
{{- if ne .Values.ingressClass.name "ingresskit" }}
- --ingress-class={{ .Values.ingressClass.name }}
{{- end }}
{{- if ne .Values.ingressClass.controller "ingresskit.dev/ingress-controller" }}
- --controller-name={{ .Values.ingressClass.controller }}
{{- end }}
{{- if ne .Release.Name "ingresskit" }}
- --leader-election-lease={{ .Release.Namespace }}/{{ .Release.Name }}
- --host-claims={{ .Release.Namespace }}/{{ .Release.Name }}-hosts
{{- end }}
{{- range .Values.extraArgs }}
- {{ . | quote }}
{{- end }}
{{- end -}}

{{- define "ingresskit.ports" -}}
{{- $edge := eq .Values.mode "edge" -}}
{{- $node := include "ingresskit.hostNetwork" . -}}
- name: http
  containerPort: {{ ternary 80 8080 (eq $node "true") }}
  {{- if $edge }}
  hostPort: 80
  {{- end }}
- name: https
  containerPort: {{ ternary 443 8443 (eq $node "true") }}
  {{- if $edge }}
  hostPort: 443
  {{- end }}
- name: admin
  containerPort: 8580
  {{- if $node }}
  hostPort: 8580
  {{- end }}
{{- range $port, $_ := .Values.tcpServices }}
- name: tcp-{{ $port }}
  containerPort: {{ $port }}
  {{- if $edge }}
  hostPort: {{ $port }}
  {{- end }}
{{- end }}
{{- end -}}

{{- define "ingresskit.pod" -}}
metadata:
  labels:
    {{- include "ingresskit.labels" . | nindent 4 }}
spec:
  serviceAccountName: {{ .Release.Name }}
  {{- with .Values.imagePullSecrets }}
  imagePullSecrets:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- if include "ingresskit.hostNetwork" . }}
  hostNetwork: true
  dnsPolicy: ClusterFirstWithHostNet
  {{- end }}
  {{- if eq .Values.mode "edge" }}
  nodeSelector:
    {{- toYaml .Values.edge.nodeSelector | nindent 4 }}
  tolerations:
    {{- toYaml .Values.edge.tolerations | nindent 4 }}
  {{- else }}
  affinity:
    podAntiAffinity:
      preferredDuringSchedulingIgnoredDuringExecution:
        - weight: 100
          podAffinityTerm:
            topologyKey: kubernetes.io/hostname
            labelSelector:
              matchLabels:
                {{- include "ingresskit.labels" . | nindent 16 }}
  {{- end }}
  terminationGracePeriodSeconds: 60
  securityContext:
    {{- if include "ingresskit.hostNetwork" . }}
    runAsUser: 0
    runAsGroup: 0
    {{- else }}
    runAsNonRoot: true
    runAsUser: 10001
    runAsGroup: 10001
    {{- end }}
    seccompProfile:
      type: RuntimeDefault
  containers:
    - name: controller
      image: {{ include "ingresskit.image" . }}
      {{- with .Values.image.pullPolicy }}
      imagePullPolicy: {{ . }}
      {{- end }}
      args:
        {{- include "ingresskit.args" . | nindent 8 }}
      {{- if not .Values.watchNamespaces }}
      env:
        - name: NODE_NAME
          valueFrom:
            fieldRef:
              fieldPath: spec.nodeName
      {{- end }}
      ports:
        {{- include "ingresskit.ports" . | nindent 8 }}
      livenessProbe:
        httpGet:
          path: /healthz
          port: admin
          {{- if include "ingresskit.hostNetwork" . }}
          host: 127.0.0.1
          {{- end }}
        initialDelaySeconds: 10
        periodSeconds: 10
        timeoutSeconds: 5
        failureThreshold: 6
      readinessProbe:
        httpGet:
          path: /readyz
          port: admin
          {{- if include "ingresskit.hostNetwork" . }}
          host: 127.0.0.1
          {{- end }}
        periodSeconds: 2
        timeoutSeconds: 2
      resources:
        {{- toYaml .Values.resources | nindent 8 }}
        limits:
          memory: {{ .Values.memoryLimit | default (eq .Values.renderer "inprocess" | ternary "80Mi" "256Mi") }}
      securityContext:
        allowPrivilegeEscalation: false
        readOnlyRootFilesystem: true
        capabilities:
          drop: [ALL]
          {{- if include "ingresskit.hostNetwork" . }}
          add: [NET_BIND_SERVICE]
          {{- end }}
      volumeMounts:
        - name: state
          mountPath: /tmp
        {{- if .Values.dashboard.enabled }}
        - name: admin
          mountPath: /etc/ingresskit/admin
          readOnly: true
        {{- end }}
  volumes:
    - name: state
      emptyDir:
        medium: Memory
        sizeLimit: {{ eq .Values.renderer "inprocess" | ternary "16Mi" "64Mi" }}
    {{- if .Values.dashboard.enabled }}
    - name: admin
      secret:
        secretName: {{ .Values.dashboard.usersSecret }}
    {{- end }}
{{- end -}}
