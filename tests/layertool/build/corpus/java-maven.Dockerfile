FROM maven:3-eclipse-temurin-21 AS build
COPY pom.xml /b/
RUN --mount=type=cache,target=/root/.m2 mvn -B -f /b/pom.xml dependency:go-offline
FROM eclipse-temurin:21-jre
ARG JAR=/b/target/*.jar
COPY --from=build ${JAR} /app.jar
ENTRYPOINT ["java","-jar","/app.jar"]
